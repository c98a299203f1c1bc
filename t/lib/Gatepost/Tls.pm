# SPDX-License-Identifier: ISC
# TLS on a connection that has said something already, by openssl s_client behind a relay: a
# Gatepost::Smtp before, one inside of TLS behind it.
#
#   my $c = Gatepost::Smtp->new(port => $port); $c->hello;
#   my $t = starttls($c, '-tls1_2', '-cert', $cert, '-key', $key);   # says STARTTLS, expects 220
#   my $t = tls($c, @args);                     # the handshake alone (wrapper mode)
#   my $t = tls($c, { before => $bytes }, @args);   # in one piece with the handshake
#   (undef when the handshake failed; arguments are those of s_client)
#   $t->{tls}    { protocol, cipher, key, digest, reused, cert } of the handshake, as s_client says
#   $t->{export} the first 32 bytes of EXPORTER-Channel-Binding
#   $t->{error}  of the last failed one: tls_error()
package Gatepost::Tls;
use strict;
use warnings;
use Exporter 'import';
use Gatepost::Kit;
use Gatepost::Smtp;
use IO::Select;
use IO::Socket::INET;
use Socket;

our @EXPORT = qw(tls starttls tls_error);
our @ISA = ('Gatepost::Smtp');
my ($count, $error) = (0, '');

sub tls_error {$error}

# Bytes between two sockets until one ends; before: goes to the right one with the first of them.
sub _relay {
    my ($left, $right, $before) = @_;
    my %other = (fileno $left => $right, fileno $right => $left);
    my $select = IO::Select->new($left, $right);
    local $SIG{PIPE} = 'IGNORE';
    while ($select->count) {
        for my $from ($select->can_read) {
            my $n = sysread $from, my $bytes, 65536;
            return if !$n;
            ($bytes, $before, $n) = ($before . $bytes, '', $n + length $before) if $from == $left;
            my $at = 0;
            while ($at < $n) {
                my $done = syswrite $other{ fileno $from }, $bytes, $n - $at, $at;
                return if !defined $done;
                $at += $done;
            }
        }
    }
}

sub tls {
    my ($c, @args) = @_;
    my %arg = ref $args[0] ? %{ shift @args } : ();
    my $listen = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
    my $port = $listen->sockport;
    socketpair my $mine, my $its, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
    my $report = tempdir('tls') . '/' . ++$count;
    my $relay = fork // die "fork: $!";
    if (!$relay) {
        close $mine;
        close $its;
        _relay(scalar $listen->accept, $c->sock, $arg{before} // '');
        kill 'KILL', $$;
    }
    Gatepost::Kit::adopt($relay);
    close $listen;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $mine;
        close $c->sock;
        open STDIN, '<&', $its;
        open STDOUT, '>&', $its;
        open STDERR, '>', $report;
        # A server's name that is an address is not sent.
        exec 'openssl', 's_client', '-connect', "127.0.0.1:$port", '-nocommands', '-ign_eof',
            '-keymatexport', 'EXPORTER-Channel-Binding', '-keymatexportlen', 32, @args or kill 'KILL', $$;
    }
    Gatepost::Kit::adopt($pid);
    close $its;
    close $c->sock;
    my $self = bless { sock => $mine, in => '', timeout => $c->{timeout}, log => $c->{log}, report => $report,
        tls => {}, owner => $$, pids => [$pid, $relay] }, __PACKAGE__;
    return $self->_begin ? $self : undef;
}

# Ends the connection without a word.
sub drop { kill 'KILL', @{ delete $_[0]{pids} // [] } }

sub DESTROY {
    my ($self) = @_;
    local ($., $@, $!, $^E, $?);
    $self->drop if $self->{owner} == $$;
}

# What s_client prints before it passes bytes on.
sub _begin {
    my ($self) = @_;
    my $t = $self->{tls};
    while (defined(my $line = $self->SUPER::line)) {
        $t->{text} .= "$line\n";
        $t->{protocol} = $1, $t->{reused} = 0 if $line =~ /^New, (\S+), /;
        $t->{protocol} = $1, $t->{reused} = 1 if $line =~ /^Reused, (\S+), /;
        $t->{cipher} = $1 if $line =~ /Cipher is (\S+)/;
        $t->{key} = $1 if $line =~ /^Peer signature type: (\S+)/;
        $t->{digest} = $1 if $line =~ /^Peer signing digest: (\S+)/;
        $t->{subject} = $1 if $line =~ /^subject=(.*)/;
        $self->{export} = pack 'H*', $1 if $line =~ /^ {4}Keying material: ([0-9A-F]+)/;
        return 1 if $self->{export} && $line eq '---' && ($t->{cipher} // '(NONE)') ne '(NONE)';
        last if $line =~ /^Secure Renegotiation/ && ($t->{cipher} // '') eq '(NONE)';
    }
    $error = (slurp($self->{report}) // '') . ($t->{text} // '');
    return;
}

# Sessions that come behind the handshake are told between the lines.
sub line {
    my ($self) = @_;
    while (defined(my $line = $self->SUPER::line)) {
        return $line if $line =~ /^\d{3}(?:[- ]|$)/;
    }
    return;
}

sub starttls {
    my ($c, @args) = @_;
    my $r = $c->cmd('STARTTLS');
    $error = $r->{text};
    return $r->{code} == 220 ? tls($c, @args) : undef;
}

# EHLO inside of TLS; true when it was accepted.
sub ehlo {
    my ($self, $name) = @_;
    my $r = $self->cmd('EHLO ' . ($name // 'client.example'));
    $self->{ehlo} = { map { /^250[- ](\S+) ?(.*)/ ? (uc $1 => $2) : () } @{ $r->{lines} } };
    return $r->{code} == 250;
}

1;
