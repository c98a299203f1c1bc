# SPDX-License-Identifier: ISC
# smtpd alone, on t/smtpd/stage, which plays master and cleanup.
#
#   my $st = Gatepost::Stage->new(main => { relay_domains => 'relay.test' }, limit => 100);
#   my $c = $st->client;                    # Gatepost::Smtp
#   my $m = $st->letter($id);               # { sender, rcpt => [...], ..., content }
#   $st->order('drain now');                # see stage.c
package Gatepost::Stage;
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Smtp;
use IPC::Open2;
use Test::More ();

sub new {
    my ($class, %arg) = @_;
    my $dir = tempdir('stage');
    mkdir "$dir/$_" or die "$dir/$_: $!" for qw(mail public);
    my %main = (
        compatibility_level => '3.6', myhostname => 'mx.example.test', mydomain => 'example.test',
        myorigin => '$myhostname', mydestination => 'local.test, mx.example.test',
        mynetworks => '127.0.0.9', relay_domains => 'relay.test', alias_maps => '',
        local_recipient_maps => 'inline:{root=1}', inet_interfaces => '127.0.0.1',
        relay_recipient_maps => 'inline:{{good@relay.test=1}}',
        virtual_alias_maps => 'inline:{{al@alias.test=root@local.test}}',
        virtual_alias_domains => 'alias.test', virtual_mailbox_domains => 'vm.test',
        virtual_mailbox_maps => 'inline:{{u@vm.test=x}}',
        smtpd_peername_lookup => 'no', smtpd_client_connection_count_limit => 0,
        smtpd_error_sleep_time => 0, smtpd_soft_error_limit => 1000,
        smtpd_hard_error_limit => 1000, message_size_limit => 100000,
        %{ $arg{main} // {} },
    );
    spew("$dir/main.cf", join '', map {"$_ = $main{$_}\n"} sort keys %main);
    my $self = bless { dir => $dir, main => \%main }, $class;
    $self->{pid} = open2($self->{out}, $self->{in}, build() . '/t/smtpd/stage',
        build() . '/smtpd/smtpd', $dir, $arg{limit} // ());
    Gatepost::Kit::adopt($self->{pid});
    $self->{in}->autoflush(1);
    while (defined(my $line = readline $self->{out})) {
        $self->{port} = $1 if $line =~ /^port (\d+)/;
        $self->{ended} = $1 if $line =~ /^ended (\d+)/;
        last if $line =~ /^(?:ready|ended)/;
    }
    return $self;
}

sub port { $_[0]{port} }
sub socket { "$_[0]{dir}/public/sendmail" }
sub log_text { slurp("$_[0]{dir}/log") // '' }

sub client {
    my ($self, %arg) = @_;
    return Gatepost::Smtp->new(port => $self->{port}, %arg);
}

# A client that has said EHLO.
sub session {
    my ($self, %arg) = @_;
    my $c = $self->client(%arg) or return;
    return $c->hello($arg{helo}) ? $c : undef;
}

sub order {
    my ($self, $order) = @_;
    print { $self->{in} } "$order\n";
    return $self;
}

# The next line that the stage says.
sub said {
    my ($self) = @_;
    my $line = readline $self->{out};
    chomp $line if defined $line;
    return $line;
}

# Waits for smtpd's end; its exit status.
sub end {
    my ($self) = @_;
    while (defined(my $line = readline $self->{out})) {
        return $1 if $line =~ /^ended (\d+)/;
    }
    return;
}

sub letters {
    my ($self) = @_;
    return sort map {s{.*/}{}r} glob "$self->{dir}/mail/*";
}

sub letter {
    my ($self, $id) = @_;
    my $text = slurp("$self->{dir}/mail/" . ($id // return)) // return;
    my ($head, $content) = split /\n\n/, $text, 2;
    my %letter = (content => $content, rcpt => []);
    for my $line (split /\n/, $head) {
        my ($name, $value) = split /=/, $line, 2;
        if ($name eq 'rcpt') { push @{ $letter{rcpt} }, $value }
        else                 { $letter{$name} = $value }
    }
    return \%letter;
}

# A test: the log gets this line.
sub wait_log {
    my ($self, $pattern, $name) = @_;
    my $found = wait_until(10, sub { $self->log_text =~ $pattern });
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok($found, $name // "log: $pattern")
        or Test::More::diag("end of the log:\n" . tail("$self->{dir}/log", 15));
    return $found;
}

# One session as a table: [line => reply]; a reply is text, the whole of it, or a pattern.
sub dialogue {
    my ($self, $name, @rows) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $c = $self->session or return Test::More::fail("$name: session");
    while (my ($line, $want) = splice @rows, 0, 2) {
        $c->send($line =~ /\n\z/ ? $line : "$line\r\n");
        my $r = $c->reply;
        my $ok = ref $want ? $r->{text} =~ $want : $r->{text} eq $want;
        my $show = substr($line, 0, 60) =~ s/\r/\\r/gr =~ s/\n/\\n/gr;
        Test::More::ok($ok, "$name: $show") or Test::More::diag("got:  $r->{text}\nwant: $want");
    }
    return $c;
}

1;
