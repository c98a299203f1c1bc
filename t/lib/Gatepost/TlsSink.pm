# SPDX-License-Identifier: ISC
# An SMTP (or LMTP) server with STARTTLS for tests, honest or nasty. It speaks SMTP itself; TLS is
# openssl(1)'s s_server, one for each session, through which it passes the bytes.
#
#   my $s = Gatepost::TlsSink->new(cert => $certs->make(...));
#     starttls => 'none'      not offered              'refuse' 454      'refuse5' 502
#                 'garbage'   no TLS behind the 220    'close' the connection instead of a ServerHello
#                 'inject'    replies in the same packet as the 220, before TLS
#                 'begin'     the begin of a reply in that packet
#                 'drop'      the connection ends where TLS is up, at MAIL
#                 'cut'       the same at RCPT for <cut...>
#     wrapper => 1            TLS from connect         server => [options of s_server]
#     tls_keywords => [...]   what EHLO says inside of TLS    keywords => [...]   what it says before
#     on => { STAGE => WHAT } inside of TLS, at ehlo, mail, rcpt, data and dot: a reply, or drop (closes),
#                 silent (as long as the client waits), garbage
#     plain => 1              as starttls says, but takes mail in clear text too (the default)
#   $s->messages;   # { from, mail, rcpts, content, tls (0 or 1), session }
#   $s->sessions;   # texts: a line a command, "TLS" where it began, "raw HEX" for a first byte that is no SMTP
package Gatepost::TlsSink;
use strict;
use warnings;
use Gatepost::Kit;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use IPC::Open2;
use POSIX ();
use Time::HiRes qw(sleep);

sub new {
    my ($class, %arg) = @_;
    my $self = bless { starttls => 'offer', keywords => [qw(PIPELINING 8BITMIME)], addr => '127.0.0.1', %arg }, $class;
    $self->{tls_keywords} //= $self->{keywords};
    $self->{dir}  = tempdir('tlssink');
    $self->{port} //= free_port($self->{addr});
    my $listen = IO::Socket::INET->new(LocalAddr => $self->{addr}, LocalPort => $self->{port}, Proto => 'tcp',
        Listen => 50, ReuseAddr => 1) or die "listen: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        eval { $self->_serve($listen); 1 } or print STDERR "tlssink: $@";
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
    return $self;
}

sub port { $_[0]{port} }

sub sessions {
    my ($self) = @_;
    return map { slurp($_) } sort { ($a =~ /(\d+)$/)[0] <=> ($b =~ /(\d+)$/)[0] } glob "$self->{dir}/session.*";
}

sub messages {
    my ($self) = @_;
    my @all;
    for my $path (sort { ($a =~ /(\d+)\.\d+$/)[0] <=> ($b =~ /(\d+)\.\d+$/)[0] } glob "$self->{dir}/msg.*[0-9]") {
        my ($head, $content) = split /\n\n/, slurp($path), 2;
        my %m = (content => $content, session => ($path =~ /(\d+)\.\d+$/)[0]);
        for (split /\n/, $head) {
            my ($key, $value) = split / /, $_, 2;
            $key eq 'rcpt' ? push @{ $m{rcpts} }, $value =~ /<([^>]*)>/ : ($m{$key} = $value);
        }
        ($m{from}) = $m{mail} =~ /<([^>]*)>/;
        push @all, \%m;
    }
    return @all;
}

sub _serve {
    my ($self, $listen) = @_;
    $SIG{CHLD} = 'IGNORE';
    $SIG{PIPE} = 'IGNORE';
    my $number = 0;
    while (my $client = $listen->accept) {
        $number++;
        next if fork;
        $SIG{CHLD} = 'DEFAULT';
        close $listen;
        my $s = { %$self, client => $client, number => $number, in => '', out => '', nr => 0 };
        eval { _session($s); 1 } or _note($s, "died $@");
        kill 'KILL', $s->{tls} if $s->{tls};
        POSIX::_exit(0);
    }
}

sub _note {
    my ($s, $line) = @_;
    open my $fh, '>>', "$s->{dir}/session.$s->{number}" or die $!;
    print $fh "$line\n";
    close $fh;
}

# One s_server for this session, on a socket of its own.
sub _start_tls {
    my ($s) = @_;
    my $path = "$s->{dir}/tls.$s->{number}";
    my $cert = $s->{cert};
    $s->{tls} = open2(my $from, my $to, 'sh', '-c', 'exec openssl "$@" 2>/dev/null', 'sh', 's_server', '-quiet', '-unix', $path, '-naccept', 1,
        '-cert', $cert->{cert}, '-key', $cert->{key}, '-cert_chain', $cert->{chain}, @{ $s->{server} // [] });
    my $sock;
    wait_until(10, sub { $sock = IO::Socket::UNIX->new(Peer => $path) }) or die "s_server does not listen";
    $to->autoflush(1);
    @$s{qw(from to sock)} = ($from, $to, $sock);
}

# Bytes both ways; what is inside of TLS is added to {in}. False at the end of the connection.
sub _pass {
    my ($s) = @_;
    my $set = IO::Select->new($s->{client}, $s->{tls} ? ($s->{sock}, $s->{from}) : ());
    my $ended = 0;
    for my $fh ($set->can_read(60)) {
        my $n = sysread $fh, my $bytes, 65_536;
        if (!$s->{tls}) {
            return if !$n;
            $s->{in} .= $bytes;
        } elsif ($fh == $s->{from}) {
            return if !$n;
            $s->{in} .= $bytes;
            $ended = 0;
        } elsif ($fh == $s->{client}) {
            return if !$n;
            syswrite $s->{sock}, $bytes;
        } else {
            return if !$n;
            syswrite $s->{client}, $bytes;
        }
    }
    return 1;
}

sub _line {
    my ($s) = @_;
    while ($s->{in} !~ /\n/) { _pass($s) or return }
    $s->{in} =~ s/^([^\n]*)\n//;
    my $line = $1;
    $line =~ s/\r$//;
    return $line;
}

sub _say {
    my ($s, $text) = @_;
    syswrite $s->{tls} ? $s->{to} : $s->{client}, $text;
    return if !$s->{tls};
    # It must be with the client before anything is closed.
    my $set = IO::Select->new($s->{sock});
    _pass($s) if $set->can_read(5);
}

sub _ehlo {
    my ($s) = @_;
    my @words = $s->{tls} ? @{ $s->{tls_keywords} } : @{ $s->{keywords} };
    push @words, 'STARTTLS' if !$s->{tls} && $s->{starttls} ne 'none';
    my @lines = ('tlssink.test', @words);
    my $last = pop @lines;
    return _stage($s, 'ehlo', join('', map {"250-$_\r\n"} @lines) . "250 $last");
}

# The usual reply, or what is to be done instead. 0: it was no good one; undef: the session ends.
sub _stage {
    my ($s, $stage, $usual) = @_;
    my $what = ($s->{tls} ? $s->{on}{$stage} : undef) // $usual;
    if ($what =~ /^(?:silent|garbage)$/) {
        _say($s, "HTTP/1.1 400 Bad Request\r\n\r\n") if $what eq 'garbage';
        1 while _pass($s);
        return;
    }
    return if $what eq 'drop';
    _say($s, "$what\r\n");
    return $what =~ /^[23]/ ? 1 : 0;
}

# undef: the session ends.
sub _starttls {
    my ($s) = @_;
    my $how = $s->{starttls};
    return _say($s, "454 4.7.0 TLS not available now\r\n"), 1 if $how eq 'refuse';
    return _say($s, "502 5.5.1 no such thing\r\n"), 1 if $how =~ /^(?:refuse5|none)$/;
    if ($how eq 'inject') {
        _say($s, "220 go\r\n250-evil.test\r\n250-XCLIENT NAME\r\n250 SIZE 1\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    } elsif ($how eq 'begin') {
        _say($s, "220 go\r\n250-evil.test\r\n250-SIZE 1000000\r\n250-XCLIENT NAME\r\n");
    } else {
        _say($s, "220 2.0.0 go\r\n");
    }
    if ($how eq 'garbage') {
        _say($s, "this is no TLS at all, whatever you think of it\r\n" x 3);
        _pass($s);
        return;
    }
    if ($how eq 'close') {
        _pass($s);
        return;
    }
    $s->{in} = '';
    _start_tls($s);
    _note($s, 'TLS');
    return 1;
}

sub _store {
    my ($s, $content) = @_;
    my $nr = ++$s->{nr};
    spew("$s->{dir}/msg.$s->{number}.$nr", join('', "mail $s->{mail}\n", map({"rcpt $_\n"} @{ $s->{rcpt} }),
        'tls ' . ($s->{tls} ? 1 : 0) . "\n\n") . $content);
    rename "$s->{dir}/msg.$s->{number}.$nr", "$s->{dir}/msg.$s->{number}.$nr";
}

sub _data {
    my ($s) = @_;
    my $content = '';
    my $good = _stage($s, 'data', '354 go');
    return $good if !$good;
    while (defined(my $line = _line($s))) {
        if ($line eq '.') {
            # It is there before its reply is.
            my $taken = ($s->{on}{dot} // '2') =~ /^2/;
            _store($s, $content) if $taken;
            for ($s->{lmtp} ? @{ $s->{rcpt} } : 1) { defined _stage($s, 'dot', '250 2.0.0 taken') or return }
            return 1;
        }
        $line =~ s/^\.//;
        $content .= "$line\n";
    }
    return;
}

sub _command {
    my ($s, $line) = @_;
    _note($s, $line);
    if ($line =~ /^(?:EHLO|LHLO)/i) { return _ehlo($s) }
    elsif ($line =~ /^STARTTLS/i) { return _starttls($s) }
    elsif ($line =~ /^MAIL FROM:(.*)/i) {
        return if $s->{tls} && $s->{starttls} eq 'drop';
        @$s{qw(mail rcpt)} = ($1, []);
        return _stage($s, 'mail', '250 2.1.0 Ok');
    }
    elsif ($line =~ /^RCPT TO:(.*)/i) {
        my $to = $1;
        my $bad = $to =~ /^<bad/;
        return if $s->{tls} && $s->{starttls} eq 'cut' && $to =~ /^<cut/;
        my $good = _stage($s, 'rcpt', $bad ? '550 5.1.1 no' : '250 2.1.5 Ok');
        push @{ $s->{rcpt} }, $to if $good;
        return $good;
    }
    elsif ($line =~ /^DATA/i) { return _data($s) }
    elsif ($line =~ /^QUIT/i) { _say($s, "221 bye\r\n"); return }
    else                      { _say($s, "250 Ok\r\n") }
    return 1;
}

sub _session {
    my ($s) = @_;
    if ($s->{wrapper}) {
        my $n = sysread $s->{client}, my $bytes, 65_536;
        return if !$n;
        _note($s, 'raw ' . unpack 'H2', $bytes);
        _start_tls($s);
        syswrite $s->{sock}, $bytes;
        _note($s, 'TLS');
    }
    _say($s, "220 tlssink.test ESMTP\r\n");
    while (defined(my $line = _line($s))) {
        defined _command($s, $line) or last;
    }
    shutdown $s->{client}, 1;
}

1;
