# SPDX-License-Identifier: ISC
# A policy server of a test (SMTPD_POLICY), which notes what it is asked.
#
#   my $p = Gatepost::Policy->new(answer => sub { my ($request) = @_; return "action=DUNNO\n\n" });
#   $p->spec;            # inet:127.0.0.1:PORT; with path => '/x': unix:/x
#   $p->requests;        # each a hash of its attributes, {order} their names, {connection} a number
#
# The code's answer is sent as it is; undef is silence, '' closes the connection.
package Gatepost::Policy;
use strict;
use warnings;
use Gatepost::Kit;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();

sub new {
    my ($class, %arg) = @_;
    my $self = bless { dir => tempdir('policy'), path => $arg{path}, answer => $arg{answer} }, $class;
    $self->{port} = $arg{port} // free_port() if !$self->{path};
    $self->start if !$arg{stopped};
    return $self;
}

sub spec { $_[0]{path} ? "unix:$_[0]{path}" : "inet:127.0.0.1:$_[0]{port}" }

sub start {
    my ($self) = @_;
    unlink $self->{path} if $self->{path};
    my $listener = $self->{path}
        ? IO::Socket::UNIX->new(Local => $self->{path}, Listen => 64)
        : IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Proto => 'tcp',
        Listen => 64, ReuseAddr => 1);
    die "policy server: $!" if !$listener;
    chmod 0666, $self->{path} if $self->{path};
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        Gatepost::Kit::default_signals();
        eval { _serve($self, $listener); 1 } or print STDERR "policy: $@";
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
    $self->{pid} = $pid;
    return $self;
}

sub stop { stop_pid(delete $_[0]{pid}, 'TERM') if $_[0]{pid} }

sub requests {
    my ($self) = @_;
    return map {
        my ($number, @lines) = split /\n/;
        my %r = map { /^([^=]*)=(.*)/ ? ($1, $2) : () } @lines;
        $r{connection} = $number;
        $r{order} = join ' ', map { /^([^=]*)=/ ? $1 : () } @lines;
        \%r
    } split /\n\n/, slurp("$self->{dir}/requests") // '';
}

sub _serve {
    my ($self, $listener) = @_;
    open my $log, '>>', "$self->{dir}/requests" or die $!;
    $log->autoflush(1);
    my $select = IO::Select->new($listener);
    my (%in, %number, $n);
    while (1) {
        for my $sock ($select->can_read) {
            if ($sock == $listener) {
                my $new = $listener->accept or next;
                $select->add($new);
                $number{$new} = ++$n;
                $in{$new} = '';
                next;
            }
            my $got = sysread $sock, $in{$sock}, 65536, length $in{$sock};
            my $open = $got;
            while ($open && $in{$sock} =~ s/^(.*?)\n\n//s) {
                my $request = $1;
                print $log "$number{$sock}\n$request\n\n";
                my %r = map { /^([^=]*)=(.*)/ ? ($1, $2) : () } split /\n/, $request;
                my $reply = $self->{answer}->(\%r, $number{$sock});
                next if !defined $reply;
                $open = 0 if $reply eq '' || $reply =~ s/CLOSE\z//;
                syswrite $sock, $reply if length $reply;
            }
            next if $open;
            $select->remove($sock);
            close $sock;
        }
    }
}

1;
